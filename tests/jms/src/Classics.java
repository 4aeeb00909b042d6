import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import javax.jms.ConnectionConsumer;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.QueueConnection;
import javax.jms.QueueReceiver;
import javax.jms.QueueRequestor;
import javax.jms.QueueSession;
import javax.jms.ServerSession;
import javax.jms.Session;
import javax.jms.TextMessage;
import javax.jms.TopicConnection;
import javax.jms.TopicPublisher;
import javax.jms.TopicSession;
import javax.jms.TopicSubscriber;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.ActiveMQConnectionFactory;
import org.apache.activemq.command.ActiveMQQueue;
import org.apache.activemq.command.ActiveMQTopic;

/** The older and rarer parts of the API, as application servers and pools use them. */
final class Classics extends JmsTest {
    @Test
    void queue_connections_of_jms_1_0_work() throws Exception {
        ActiveMQConnectionFactory factory = factory(url(""));
        QueueConnection connection = factory.createQueueConnection();
        closeAfter(connection::close);
        connection.start();
        QueueSession session = connection.createQueueSession(false, Session.AUTO_ACKNOWLEDGE);
        session.createSender(queue()).send(session.createTextMessage("one"));
        QueueReceiver receiver = session.createReceiver(queue(), "JMSPriority = 4");
        equal("one", takeText(receiver));
    }

    @Test
    void topic_connections_of_jms_1_0_work() throws Exception {
        TopicConnection connection = factory(url("")).createTopicConnection();
        closeAfter(connection::close);
        connection.setClientID(name());
        connection.start();
        TopicSession session = connection.createTopicSession(false, Session.AUTO_ACKNOWLEDGE);
        TopicSubscriber plain = session.createSubscriber(topic());
        TopicSubscriber durable = session.createDurableSubscriber(topic(), "durable");
        TopicPublisher publisher = session.createPublisher(topic());
        publisher.publish(session.createTextMessage("one"));
        equal("one", takeText(plain));
        equal("one", takeText(durable));
        durable.close();
        session.unsubscribe("durable");
    }

    @Test
    void a_requestor_gets_its_reply() throws Exception {
        QueueConnection connection = factory(url("")).createQueueConnection();
        closeAfter(connection::close);
        connection.start();
        Session serving = auto(connect());
        serving.createConsumer(queue()).setMessageListener(request -> {
            try {
                serving.createProducer(request.getJMSReplyTo()).send(serving.createTextMessage("reply"));
            } catch (Exception e) {
                throw new RuntimeException(e);
            }
        });
        QueueSession session = connection.createQueueSession(false, Session.AUTO_ACKNOWLEDGE);
        QueueRequestor requestor = new QueueRequestor(session, queue());
        equal("reply", ((TextMessage) requestor.request(session.createMessage())).getText());
        equal("reply", ((TextMessage) requestor.request(session.createMessage())).getText());
    }

    @Test
    void a_connection_consumer_hands_messages_to_a_pool_of_sessions() throws Exception {
        ActiveMQConnection connection = connect();
        List<String> got = Collections.synchronizedList(new ArrayList<>());
        CountDownLatch all = new CountDownLatch(50);
        Session session = auto(connection);
        session.setMessageListener(message -> {
            try {
                got.add(((TextMessage) message).getText());
            } catch (Exception e) {
                got.add("" + e);
            }
            all.countDown();
        });
        ServerSession server = new ServerSession() {
            @Override
            public Session getSession() {
                return session;
            }

            @Override
            public void start() {
                session.run();
            }
        };
        ConnectionConsumer consumer = connection.createConnectionConsumer(queue(), null, () -> server, 10);
        sendNumbers(auto(connect()), queue(), 50);
        check(all.await(SOON, TimeUnit.MILLISECONDS), all.getCount() + " missing");
        equal(numbers(0, 50), got);
        Session looking = auto(connect());
        eventually("the last one is acknowledged", () ->
                !looking.createBrowser(queue()).getEnumeration().hasMoreElements());
        consumer.close();
        session.close();
        equal(List.of(), drain(queue()));
    }

    @Test
    void names_with_unusual_characters_work() throws Exception {
        Session session = auto(connect());
        for (String odd : List.of("with space", "ümläut 水", "a-b_c$d", "slash/es\\", "per%cent", "a..b", "semi;colon",
                "x".repeat(200), "colon:s", "quote'\"", "<tag>&amp;", "#hash", "[brackets]", "UPPER", "upper")) {
            ActiveMQQueue queue = new ActiveMQQueue(name() + "." + odd);
            ActiveMQTopic topic = new ActiveMQTopic(name() + "." + odd);
            MessageConsumer ofTopic = session.createConsumer(topic);
            send(session, queue, "q " + odd);
            send(session, topic, "t " + odd);
            MessageConsumer ofQueue = session.createConsumer(queue);
            Message message = take(ofQueue);
            equal("q " + odd, ((TextMessage) message).getText());
            equal(queue, message.getJMSDestination());
            equal("t " + odd, takeText(ofTopic));
            nothing(ofQueue);
        }
    }

    @Test
    void a_listener_in_client_mode_acknowledges_as_it_likes() throws Exception {
        ActiveMQConnection connection = connect();
        Session session = client(connection);
        CountDownLatch all = new CountDownLatch(20);
        session.createConsumer(queue()).setMessageListener(message -> {
            try {
                if (Integer.parseInt(((TextMessage) message).getText()) % 5 == 4) {
                    message.acknowledge();
                }
            } catch (Exception e) {
                throw new RuntimeException(e);
            }
            all.countDown();
        });
        sendNumbers(auto(connect()), queue(), 20);
        check(all.await(SOON, TimeUnit.MILLISECONDS), all.getCount() + " missing");
        connection.close();
        equal(List.of(), drain(queue()));
    }

    @Test
    void recover_brings_back_what_several_consumers_of_the_session_hold() throws Exception {
        ActiveMQConnection connection = connect();
        Session session = client(connection);
        MessageConsumer a = session.createConsumer(queue("A"));
        MessageConsumer b = session.createConsumer(queue("B"));
        send(session, queue("A"), "a1", "a2");
        send(session, queue("B"), "b1");
        takeTexts(a, 2);
        takeTexts(b, 1);
        session.recover();
        equal(List.of("a1", "a2"), takeTexts(a, 2));
        equal("b1", takeText(b));
        take(send(session, "B", b, "b2")).acknowledge();
        connection.close();
        equal(List.of(), drain(queue("A")));
        equal(List.of(), drain(queue("B")));
    }

    private MessageConsumer send(Session session, String suffix, MessageConsumer consumer, String text)
            throws Exception {
        send(session, queue(suffix), text);
        return consumer;
    }

    @Test
    void two_consumers_of_one_queue_in_a_transaction_are_rolled_back_together() throws Exception {
        ActiveMQConnection connection = connect("jms.prefetchPolicy.all=1");
        Session session = transacted(connection);
        MessageConsumer one = session.createConsumer(queue());
        MessageConsumer two = session.createConsumer(queue());
        sendNumbers(auto(connect()), queue(), 4);
        List<String> first = new ArrayList<>(List.of(takeText(one), takeText(two)));
        session.rollback();
        List<String> again = new ArrayList<>(List.of(takeText(one), takeText(two)));
        Collections.sort(first);
        Collections.sort(again);
        equal(first, again);
        session.commit();
        connection.close();
        equal(2, drain(queue()).size());
    }

    @Test
    void a_pulling_consumer_rolls_back_until_the_message_is_dead() throws Exception {
        ActiveMQConnection connection = connect("jms.prefetchPolicy.all=0&jms.redeliveryPolicy.maximumRedeliveries=2");
        Session session = transacted(connection);
        TextMessage message = session.createTextMessage("dead");
        message.setStringProperty("marker", name());
        session.createProducer(queue()).send(message);
        session.commit();
        MessageConsumer consumer = session.createConsumer(queue());
        for (int i = 0; i < 3; i++) {
            equal(i + 1, deliveryCount(take(consumer)));
            session.rollback();
        }
        equal(null, consumer.receive(MOMENT));
        take(auto(connect()).createConsumer(new ActiveMQQueue("ActiveMQ.DLQ"), "marker = '" + name() + "'"));
    }

    @Test
    void a_session_may_close_while_its_listener_works() throws Exception {
        ActiveMQConnection connection = connect();
        Session session = auto(connection);
        CountDownLatch began = new CountDownLatch(1);
        session.createConsumer(queue()).setMessageListener(message -> began.countDown());
        sendNumbers(auto(connect()), queue(), 100);
        check(began.await(SOON, TimeUnit.MILLISECONDS), "not begun");
        session.close();
        Session next = auto(connection);
        List<String> left = takeAll(next.createConsumer(queue()));
        equal(numbers(100 - left.size(), 100), left);
    }

    @Test
    void a_new_subscriber_gets_nothing_old_even_if_it_is_retroactive() throws Exception {
        Session session = auto(connect());
        send(session, topic(), "old");
        MessageConsumer consumer = session.createConsumer(option(topic(), "consumer.retroactive=true"));
        send(session, topic(), "new");
        equal("new", takeText(consumer));
    }

    @Test
    void closing_a_group_lets_the_next_message_choose_anew() throws Exception {
        Session session = auto(connect());
        MessageConsumer one = auto(connect()).createConsumer(queue());
        sendInGroup(session, 0, "first");
        equal("first", takeText(one));
        MessageConsumer two = auto(connect()).createConsumer(queue());
        sendInGroup(session, 0, "second");
        equal("second", takeText(one));
        sendInGroup(session, -1, "last");
        equal("last", takeText(one));
        sendInGroup(session, 0, "anew");
        Message anew = null;
        for (long end = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(SOON); anew == null && System.nanoTime() < end;) {
            anew = one.receive(20);
            anew = anew == null ? two.receive(20) : anew;
        }
        check(anew != null, "nobody got it");
        equal(true, anew.getBooleanProperty("JMSXGroupFirstForConsumer"));
    }

    private void sendInGroup(Session session, int sequence, String text) throws Exception {
        Message message = session.createTextMessage(text);
        message.setStringProperty("JMSXGroupID", "g");
        message.setIntProperty("JMSXGroupSeq", sequence);
        session.createProducer(queue()).send(message);
    }

    /** JMS 2 has them, its client for ActiveMQ refuses them itself, and goes on. */
    @Test
    void shared_consumers_are_refused_and_the_session_goes_on() throws Exception {
        Session session = auto(connect());
        for (String method : List.of("createSharedConsumer", "createSharedDurableConsumer")) {
            java.lang.reflect.Method shared;
            try {
                shared = Session.class.getMethod(method, javax.jms.Topic.class, String.class);
            } catch (NoSuchMethodException older) {
                equal("javax.jms.Session", Session.class.getName());
                continue;
            }
            try {
                shared.invoke(session, topic(), "s");
                check(false, method + " worked");
            } catch (java.lang.reflect.InvocationTargetException refused) {
                equal(UnsupportedOperationException.class, refused.getCause().getClass());
            }
        }
        MessageConsumer plain = session.createConsumer(topic());
        send(session, topic(), "x");
        equal("x", takeText(plain));
    }
}

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import javax.jms.BytesMessage;
import javax.jms.JMSException;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Session;
import javax.jms.TextMessage;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.ActiveMQMessageProducer;
import org.apache.activemq.AsyncCallback;
import org.apache.activemq.command.ProducerAck;
import org.apache.activemq.transport.DefaultTransportListener;

/** Sending: with and without waiting, with windows, from many threads. */
final class Producers extends JmsTest {
    @Test
    void a_producer_without_destination_sends_anywhere() throws Exception {
        Session session = auto(connect());
        MessageProducer producer = session.createProducer(null);
        producer.send(queue("A"), session.createTextMessage("a"));
        producer.send(queue("B"), session.createTextMessage("b"));
        equal(List.of("a"), drain(queue("A")));
        equal(List.of("b"), drain(queue("B")));
        refused(UnsupportedOperationException.class, () -> producer.send(session.createMessage()));
    }

    @Test
    void messages_sent_with_and_without_waiting_keep_their_order() throws Exception {
        ActiveMQConnection connection = connect();
        Session session = auto(connection);
        MessageProducer producer = session.createProducer(queue());
        for (int i = 0; i < 500; i++) {
            connection.setUseAsyncSend(i % 3 == 0);
            producer.send(session.createTextMessage("" + i));
        }
        equal(numbers(0, 500), takeTexts(session.createConsumer(queue()), 500));
    }

    @Test
    void a_callback_hears_of_every_asynchronous_send() throws Exception {
        Session session = auto(connect());
        ActiveMQMessageProducer producer = (ActiveMQMessageProducer) session.createProducer(queue());
        CountDownLatch done = new CountDownLatch(100);
        ConcurrentLinkedQueue<JMSException> errors = new ConcurrentLinkedQueue<>();
        for (int i = 0; i < 100; i++) {
            producer.send(session.createTextMessage("" + i), new AsyncCallback() {
                @Override
                public void onSuccess() {
                    done.countDown();
                }

                @Override
                public void onException(JMSException exception) {
                    errors.add(exception);
                }
            });
        }
        check(done.await(SOON, TimeUnit.MILLISECONDS), done.getCount() + " missing, " + errors);
        equal(numbers(0, 100), takeTexts(session.createConsumer(queue()), 100));
    }

    @Test
    void a_producer_with_a_window_goes_on_as_it_is_acknowledged() throws Exception {
        ActiveMQConnection connection = connect("jms.useAsyncSend=true&jms.producerWindowSize=4000");
        AtomicInteger acknowledged = new AtomicInteger();
        AtomicInteger acks = new AtomicInteger();
        connection.addTransportListener(new DefaultTransportListener() {
            @Override
            public void onCommand(Object command) {
                if (command instanceof ProducerAck ack) {
                    acks.incrementAndGet();
                    acknowledged.addAndGet(ack.getSize());
                }
            }
        });
        Session session = auto(connection);
        MessageProducer producer = session.createProducer(queue());
        int sent = 0;
        for (int i = 0; i < 200; i++) {
            BytesMessage message = session.createBytesMessage();
            message.writeBytes(new byte[1000]);
            producer.send(message);
            sent += ((org.apache.activemq.command.ActiveMQMessage) message).getSize();
        }
        eventually("every message is acknowledged", () -> acks.get() == 200);
        equal(sent, acknowledged.get(), "bytes");
    }

    @Test
    void a_window_is_kept_in_a_transaction_too() throws Exception {
        ActiveMQConnection connection = connect("jms.producerWindowSize=2000&jms.useAsyncSend=true");
        Session session = transacted(connection);
        sendNumbers(session, queue(), 300);
        session.commit();
        equal(numbers(0, 300), drain(queue()));
    }

    @Test
    void producers_on_many_threads_lose_and_double_nothing() throws Exception {
        int threads = 8;
        int each = 200;
        List<CompletableFuture<Void>> running = new ArrayList<>();
        for (int t = 0; t < threads; t++) {
            int producer = t;
            Session session = auto(connect(producer % 2 == 0 ? "" : "jms.useAsyncSend=true"));
            running.add(CompletableFuture.runAsync(() -> sendAs(producer, session, each)));
        }
        for (CompletableFuture<Void> one : running) {
            one.get(SOON, TimeUnit.MILLISECONDS);
        }
        int[] next = new int[threads];
        MessageConsumer consumer = auto(connect()).createConsumer(queue());
        for (int i = 0; i < threads * each; i++) {
            Message message = take(consumer);
            int producer = message.getIntProperty("producer");
            equal("" + next[producer]++, ((TextMessage) message).getText(), "of producer " + producer);
        }
        nothing(consumer);
    }

    @Test
    void a_closed_producer_does_not_take_back_what_it_sent() throws Exception {
        Session session = auto(connect("jms.useAsyncSend=true"));
        for (int i = 0; i < 50; i++) {
            send(session, queue(), "" + i);
        }
        equal(numbers(0, 50), takeTexts(session.createConsumer(queue()), 50));
    }

    @Test
    void sending_to_a_topic_that_nobody_listens_to_works() throws Exception {
        Session session = auto(connect());
        sendNumbers(session, topic(), 100);
        send(session, topic(), "persistent");
    }

    @Test
    void a_send_with_a_timeout_is_answered_in_time() throws Exception {
        Session session = auto(connect("jms.sendTimeout=10000"));
        send(session, queue(), "one");
        equal(List.of("one"), drain(queue()));
    }

    private void sendAs(int producer, Session session, int count) {
        try {
            MessageProducer sending = session.createProducer(queue());
            for (int i = 0; i < count; i++) {
                Message message = session.createTextMessage("" + i);
                message.setIntProperty("producer", producer);
                sending.send(message);
            }
        } catch (JMSException e) {
            throw new RuntimeException(e);
        }
    }
}

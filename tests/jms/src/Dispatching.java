import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Session;
import javax.jms.TextMessage;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.ActiveMQMessageConsumer;
import org.apache.activemq.command.ActiveMQQueue;
import org.apache.activemq.command.ActiveMQTopic;

/** Which consumer of a queue is given what, and when, by the policy. */
final class Dispatching extends ConfiguredTest {
    @Override
    Broker.Configuration configuration() {
        return Broker.Configuration.PLAIN.policies("""
                <policyEntry queue="Strict.>" strictOrderDispatch="true"/>
                <policyEntry queue="Lazy.>" lazyDispatch="true" optimizedDispatch="true" reduceMemoryFootprint="true"/>
                <policyEntry queue="Second.>" consumersBeforeDispatchStarts="2" timeBeforeDispatchStarts="20000"/>
                <policyEntry queue="Patient.>" consumersBeforeDispatchStarts="2" timeBeforeDispatchStarts="1000"/>
                <policyEntry queue="Later.>" timeBeforeDispatchStarts="1000"/>
                <policyEntry queue="Flat.>" useConsumerPriority="false"/>
                <policyEntry queue="Bucket.>" messageGroupMapFactoryType="bucket?bucketCount=8"/>
                <policyEntry queue="Simple.>" messageGroupMapFactoryType="simple"/>
                <policyEntry queue="Cached.>" messageGroupMapFactoryType="cached?cacheSize=4"/>
                <policyEntry topic="RoundRobin.>"><dispatchPolicy><roundRobinDispatchPolicy/></dispatchPolicy></policyEntry>
                <policyEntry topic="Strict.>"><dispatchPolicy><strictOrderDispatchPolicy/></dispatchPolicy></policyEntry>
                <policyEntry topic="Priority.>"><dispatchPolicy><priorityDispatchPolicy/></dispatchPolicy></policyEntry>
                """);
    }

    private ActiveMQQueue q(String kind) {
        return new ActiveMQQueue(kind + "." + name());
    }

    private MessageConsumer consumer(ActiveMQQueue queue, String options) throws Exception {
        return auto(connect()).createConsumer(option(queue, options));
    }

    @Test
    void a_strict_order_fills_the_first_consumer() throws Exception {
        MessageConsumer first = consumer(q("Strict"), "consumer.prefetchSize=3");
        MessageConsumer second = consumer(q("Strict"), "consumer.prefetchSize=3");
        sendNumbers(auto(connect()), q("Strict"), 3);
        equal(numbers(0, 3), takeTexts(first, 3));
        nothing(second);
    }

    @Test
    void lazy_and_optimized_dispatch_deliver_all() throws Exception {
        MessageConsumer consumer = consumer(q("Lazy"), "consumer.prefetchSize=2");
        sendNumbers(auto(connect()), q("Lazy"), 10);
        equal(numbers(0, 10), takeTexts(consumer, 10));
    }

    @Test
    void dispatch_waits_for_a_second_consumer() throws Exception {
        sendNumbers(auto(connect()), q("Second"), 4);
        MessageConsumer first = consumer(q("Second"), "consumer.prefetchSize=10");
        nothing(first);
        MessageConsumer second = consumer(q("Second"), "consumer.prefetchSize=10");
        equal(2, takeTexts(first, 2).size());
        equal(2, takeTexts(second, 2).size());
    }

    @Test
    void dispatch_waits_for_a_second_consumer_only_so_long() throws Exception {
        sendNumbers(auto(connect()), q("Patient"), 4);
        MessageConsumer first = consumer(q("Patient"), "consumer.prefetchSize=10");
        nothing(first);
        equal(numbers(0, 4), takeTexts(first, 4));
    }

    @Test
    void dispatch_may_start_later() throws Exception {
        sendNumbers(auto(connect()), q("Later"), 2);
        long start = System.nanoTime();
        MessageConsumer first = consumer(q("Later"), "consumer.prefetchSize=10");
        equal(numbers(0, 2), takeTexts(first, 2));
        long millis = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - start);
        check(millis >= 800, "came after " + millis + " ms");
        send(auto(connect()), q("Later"), "at once");
        equal("at once", ((TextMessage) first.receive(700)).getText());
    }

    @Test
    void a_higher_priority_comes_first_unless_the_policy_says_no() throws Exception {
        for (String kind : List.of("Priority", "Flat")) {
            MessageConsumer low = consumer(q(kind), "consumer.priority=1");
            MessageConsumer high = consumer(q(kind), "consumer.priority=5");
            sendNumbers(auto(connect()), q(kind), 4);
            if (kind.equals("Priority")) {
                equal(numbers(0, 4), takeTexts(high, 4));
                nothing(low);
            } else {
                equal(2, takeTexts(high, 2).size());
                equal(2, takeTexts(low, 2).size());
            }
        }
    }

    @Test
    void an_exclusive_consumer_of_higher_priority_takes_over() throws Exception {
        ActiveMQQueue queue = queue();
        MessageConsumer low = consumer(queue, "consumer.exclusive=true&consumer.priority=1");
        send(auto(connect()), queue, "0");
        equal("0", takeText(low));
        MessageConsumer high = consumer(queue, "consumer.exclusive=true&consumer.priority=5");
        send(auto(connect()), queue, "1");
        equal("1", takeText(high));
        high.close();
        send(auto(connect()), queue, "2");
        equal("2", takeText(low));
    }

    @Test
    void every_kind_of_group_map_keeps_a_group_with_its_consumer() throws Exception {
        for (String kind : List.of("Bucket", "Simple", "Cached")) {
            List<MessageConsumer> consumers = List.of(consumer(q(kind), ""), consumer(q(kind), ""));
            Session session = auto(connect());
            MessageProducer producer = session.createProducer(q(kind));
            for (int i = 0; i < 40; i++) {
                Message message = session.createTextMessage("" + i);
                message.setStringProperty("JMSXGroupID", "g" + i % 4);
                producer.send(message);
            }
            List<String> seen = new ArrayList<>();
            int total = 0;
            for (MessageConsumer consumer : consumers) {
                for (Message m = consumer.receive(MOMENT); m != null; m = consumer.receive(MOMENT)) {
                    String group = m.getStringProperty("JMSXGroupID");
                    String owner = group + consumers.indexOf(consumer);
                    if (!seen.contains(owner)) {
                        check(m.getBooleanProperty("JMSXGroupFirstForConsumer"), kind + " " + group + " is not first");
                        seen.add(owner);
                    }
                    total++;
                }
            }
            equal(40, total, kind);
            equal(4, seen.size(), kind + " owners " + seen);
        }
    }

    @Test
    void topics_deliver_to_all_whatever_the_dispatch_policy() throws Exception {
        for (String kind : List.of("RoundRobin", "Strict", "Priority")) {
            ActiveMQTopic topic = new ActiveMQTopic(kind + "." + name());
            MessageConsumer one = auto(connect()).createConsumer(topic);
            MessageConsumer two = auto(connect()).createConsumer(option(topic, "consumer.priority=5"));
            sendNumbers(auto(connect()), topic, 5);
            equal(numbers(0, 5), takeTexts(one, 5));
            equal(numbers(0, 5), takeTexts(two, 5));
        }
    }

    @Test
    void options_of_a_consumer_reach_the_broker() throws Exception {
        ActiveMQConnection connection = connect();
        ActiveMQMessageConsumer consumer = (ActiveMQMessageConsumer) auto(connection).createConsumer(
                option(queue(), "consumer.prefetchSize=2&consumer.dispatchAsync=false&consumer.priority=3"));
        sendNumbers(auto(connect()), queue(), 5);
        eventually("two are there", () -> consumer.getMessageSize() == 2);
        ActiveMQConnection local = connect();
        Session session = auto(local);
        MessageConsumer deaf = session.createConsumer(option(topic(), "consumer.noLocal=true"));
        send(session, topic(), "own");
        send(auto(connect()), topic(), "other");
        equal("other", takeText(deaf));
        MessageConsumer chosen = auto(connect()).createConsumer(option(queue("S"), "consumer.selector=n%3D1"));
        for (int n = 0; n < 3; n++) {
            Message message = session.createTextMessage("" + n);
            message.setIntProperty("n", n);
            session.createProducer(queue("S")).send(message);
        }
        equal("1", takeText(chosen));
    }
}

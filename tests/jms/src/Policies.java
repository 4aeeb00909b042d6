import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import javax.jms.MessageConsumer;
import javax.jms.Session;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.ActiveMQMessageConsumer;
import org.apache.activemq.command.ActiveMQDestination;
import org.apache.activemq.command.ActiveMQQueue;
import org.apache.activemq.command.ActiveMQTopic;

/** Which policy entry holds for a destination; the prefetch of its consumers tells. */
final class Policies extends ConfiguredTest {
    @Override
    Broker.Configuration configuration() {
        return Broker.Configuration.PLAIN.policies("""
                <policyEntry queue="P.>" queuePrefetch="2"/>
                <policyEntry queue="P.A.>" queuePrefetch="3"/>
                <policyEntry queue="P.*.C" queuePrefetch="4"/>
                <policyEntry queue="P.A.B.C" queuePrefetch="5" durableTopicPrefetch="50"/>
                <policyEntry queue="P.*.D.>" queuePrefetch="6"/>
                <policyEntry queue="P.E.*.>" queuePrefetch="7"/>
                <policyEntry queue="Q.A.>" queuePrefetch="8"/>
                <policyEntry queue="Q.*.C" queuePrefetch="9"/>
                <policyEntry queue="Q.*.X.*" queuePrefetch="10"/>
                <policyEntry queue="Q.B.*.Y" queuePrefetch="11"/>
                <policyEntry queue="One,Two" queuePrefetch="12"/>
                <policyEntry topic="P.A.>" topicPrefetch="13"/>
                <policyEntry tempQueue="true" queuePrefetch="14"/>
                <policyEntry tempTopic="true" topicPrefetch="15"/>
                """);
    }

    /** How many messages a consumer is given that acknowledges none. */
    private void prefetched(int expected, ActiveMQDestination destination) throws Exception {
        prefetched(expected, connect(), destination);
    }

    private static void prefetched(int expected, ActiveMQConnection connection, ActiveMQDestination destination)
            throws Exception {
        Session session = auto(connection);
        ActiveMQMessageConsumer consumer = (ActiveMQMessageConsumer) session.createConsumer(destination);
        sendNumbers(session, destination, 30);
        eventually(destination + " gives " + expected, () -> consumer.getMessageSize() >= expected);
        equal(expected, consumer.getMessageSize(), "given of " + destination);
        consumer.close();
    }

    private static ActiveMQQueue q(String name) {
        return new ActiveMQQueue(name);
    }

    @Test
    void the_more_specific_pattern_holds_and_nothing_of_the_others() throws Exception {
        prefetched(2, q("P.X.Y"));
        prefetched(3, q("P.A.X"));
        prefetched(4, q("P.X.C"));
        prefetched(5, q("P.A.B.C"));
        prefetched(6, q("P.X.D.Y"));
        prefetched(7, q("P.E.X.Y"));
    }

    @Test
    void a_pattern_also_holds_for_the_name_before_its_end() throws Exception {
        prefetched(2, q("P"));
        prefetched(3, q("P.A"));
    }

    @Test
    void of_two_that_do_not_fit_each_other_the_first_by_name_holds() throws Exception {
        prefetched(9, q("Q.A.C"));
        prefetched(10, q("Q.B.X.Y"));
    }

    @Test
    void an_entry_may_be_for_several_destinations() throws Exception {
        prefetched(12, q("One"));
        prefetched(12, q("Two"));
    }

    @Test
    void queues_and_topics_are_apart() throws Exception {
        prefetched(13, new ActiveMQTopic("P.A.X"));
    }

    @Test
    void consumers_of_temporary_queues_keep_their_prefetch_and_those_of_topics_do_not() throws Exception {
        ActiveMQConnection connection = connect();
        prefetched(30, connection, (ActiveMQDestination) auto(connection).createTemporaryQueue());
        prefetched(15, connection, (ActiveMQDestination) auto(connection).createTemporaryTopic());
    }

    @Test
    void a_prefetch_that_somebody_chose_stays() throws Exception {
        prefetched(20, option(q("P.A.own"), "consumer.prefetchSize=20"));
        ActiveMQConnection connection = connect("jms.prefetchPolicy.queuePrefetch=21");
        MessageConsumer consumer = auto(connection).createConsumer(q("P.A.factory"));
        sendNumbers(auto(connection), q("P.A.factory"), 30);
        eventually("21 are given", () -> ((ActiveMQMessageConsumer) consumer).getMessageSize() == 21);
    }

    @Test
    void the_default_entry_holds_where_no_other_does() throws Exception {
        Path directory = Files.createTempDirectory("openwired-default");
        closeAfter(() -> Broker.clear(directory));
        Path file = Files.writeString(directory.resolve("activemq.xml"), """
                <beans xmlns="http://www.springframework.org/schema/beans"
                       xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
                       xsi:schemaLocation="http://www.springframework.org/schema/beans
                         http://www.springframework.org/schema/beans/spring-beans.xsd
                         http://activemq.apache.org/schema/core
                         http://activemq.apache.org/schema/core/activemq-core.xsd">
                  <broker xmlns="http://activemq.apache.org/schema/core" brokerName="jms" persistent="false">
                    <destinationPolicy><policyMap>
                      <defaultEntry><policyEntry queuePrefetch="3" topicPrefetch="2"/></defaultEntry>
                      <policyEntries><policyEntry queue="Own.>" queuePrefetch="5"/></policyEntries>
                    </policyMap></destinationPolicy>
                    <transportConnectors><transportConnector uri="tcp://0.0.0.0:61616"/></transportConnectors>
                  </broker>
                </beans>
                """);
        Broker broker = closeAfter(Broker.of(file));
        ActiveMQConnection connection = connectTo(broker.url());
        Map<ActiveMQDestination, Integer> held = Map.of(new ActiveMQQueue("Any"), 3, new ActiveMQQueue("Own.Q"), 5,
                new ActiveMQTopic("Any"), 2);
        for (Map.Entry<ActiveMQDestination, Integer> each : held.entrySet()) {
            ActiveMQMessageConsumer consumer = (ActiveMQMessageConsumer) client(connection).createConsumer(each.getKey());
            sendNumbers(auto(connection), each.getKey(), 10);
            eventually("it holds so many", () -> consumer.getMessageSize() == each.getValue());
            TimeUnit.MILLISECONDS.sleep(MOMENT);
            equal(each.getValue(), consumer.getMessageSize(), each.getKey() + "");
        }
    }
}
